"""`s2s voices`: build a bank of voices, look at it, listen to it, and check reference clips of one's own."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer
from rich.console import Console
from rich.table import Table

from contracts.errors import ConfigError
from contracts.records import Gender

if TYPE_CHECKING:
    from tasks.voices.build_bank import Progress
    from tts_backends.voice_bank import VoiceBank

app = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown", help="Build, list, hear and check voices.")

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")]
BankDir = Annotated[
    Path | None, typer.Option("--bank", help="Folder of a bank; the one that comes with s2s when not given.")
]


def _out() -> Console:
    # A pipe has no width: nothing is cut then.
    return Console(soft_wrap=True, highlight=False, width=None if sys.stdout.isatty() else 160)


def _print_json(value: object) -> None:
    typer.echo(json.dumps(value, indent=1, ensure_ascii=False))


@app.command()
def build(
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder to write; an old bank there is replaced at the end.")
    ],
    count: Annotated[int, typer.Option(min=2, help="Kokoro voices.")] = 200,
    seed: Annotated[int, typer.Option(help="Of the candidates; another one gives other voices.")] = 2,
    min_distance: Annotated[
        float, typer.Option(min=0, max=2, help="1 - cosine to every other voice; nearer candidates are dropped.")
    ] = 0.13,
    others: Annotated[
        str, typer.Option(help="Further backends whose own voices are measured, by commas; empty for none.")
    ] = "hibari,piper",
    as_json: Json = False,
) -> None:
    """Make a bank of distinct, measured Kokoro voices on this machine's CPU.

    Candidates are blends of the five styles, each with a timbre, a body and a manner of its own. Each speaks two
    sentences; who is not understood, sounds poor or is too near another voice is dropped. Writes, into the folder:
    `kokoro.json` (voice cards), `kokoro.npy` (speaker embeddings), `report.json` and `distances.png`.

    Use it with `s2s say --bank FOLDER`, or in a recipe with `cast.backends.kokoro.options.bank: FOLDER` and the same
    option `bank` for the scorers emotion_prosody, speaker_similarity and distillmos.
    """
    from contracts.plugins import PluginSpec, create
    from flows.voice_report import bank_report, distances_picture
    from storage.object_store import LocalStore
    from tasks.engine_room import available_cores
    from tasks.voices.build_bank import BankConfig, build_bank
    from tasks.voices.measure_backend import measure_backend
    from tts_backends.voice_bank import bank_files

    backends = [name.strip() for name in others.split(",") if name.strip()]
    config = BankConfig(count=count, seed=seed, min_distance=min_distance, max_candidates=2 * count)
    store = LocalStore(out)
    # A place that cannot be written is told before the work, not after it; an old bank there stays as it is until then.
    store.write("probe", b"")
    (out / "probe").unlink()
    for backend in backends:
        create("tts_backends", PluginSpec(name=backend)).check()
    began = time.perf_counter()
    with _progress(count) as shown:
        built = build_bank(config, num_threads=available_cores(), report=shown)
    seconds = time.perf_counter() - began
    contents = bank_files(built.bank, "kokoro")
    for backend in backends:
        _out().print(f"measuring {backend} ...", style="dim")
        contents |= bank_files(measure_backend(backend, num_threads=available_cores()), backend)
    report = bank_report(built, config, seconds)
    contents |= {"report.json": json.dumps(report, indent=1).encode(), "distances.png": distances_picture(built)}
    for name, content in contents.items():
        store.write(name, content)
    if as_json:
        _print_json(report)
    else:
        _print_report(report, out)
    if len(built.bank) < count:
        raise ConfigError(
            f"Only {len(built.bank)} of {count} voices could be found among {built.tried} candidates "
            f"({built.dropped}); the bank holds those. Lower --min-distance, or ask for fewer."
        )


@app.command("list")
def list_voices(
    bank: BankDir = None,
    backend: Annotated[str | None, typer.Option(help="Only this backend's.")] = None,
    gender: Annotated[Gender | None, typer.Option(help="As it sounds.")] = None,
    age: Annotated[str | None, typer.Option(help="Age band, e.g. senior.")] = None,
    as_json: Json = False,
) -> None:
    """List measured voices with what was measured of them."""
    cards = [
        card
        for card in _bank(bank)
        if backend in (None, card.voice.backend)
        and gender in (None, card.voice.gender)
        and age in (None, card.voice.age)
    ]
    if as_json:
        _print_json([card.model_dump(mode="json") for card in cards])
        return
    table = Table(box=None, padding=(0, 1))
    for column in ("voice", "gender", "age", "F0 Hz", "range st", "letters/s", "MOS", "WER", "licence"):
        numeric = column in ("F0 Hz", "range st", "letters/s", "MOS", "WER")
        table.add_column(column, justify="right" if numeric else "left", no_wrap=True)
    for card in cards:
        neutral = card.neutral
        table.add_row(
            card.voice.id,
            card.voice.gender,
            card.voice.age or "",
            f"{neutral.f0:.0f}" if neutral.f0 else "",
            f"{neutral.f0_range:.1f}" if neutral.f0_range is not None else "",
            f"{neutral.rate:.1f}",
            f"{card.mos:.2f}",
            f"{card.wer:.2f}",
            card.voice.license,
        )
    _out().print(table)
    kinds = Counter(f"{card.voice.gender} {card.voice.age or 'of unknown age'}" for card in cards)
    _out().print(f"\n{len(cards)} voices: " + ", ".join(f"{n} {kind}" for kind, n in sorted(kinds.items())))


@app.command()
def hear(
    voices: Annotated[list[str], typer.Argument(help="Voice ids, as `s2s voices list` shows them.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the .wav files.")],
    text: Annotated[
        str, typer.Option(help="What they say.")
    ] = "Good morning! I did not think that we would meet again.",
    bank: BankDir = None,
) -> None:
    """Let voices say a sentence, one file each.

    `s2s voices hear kokoro/alpha kokoro/kumo --out heard`
    """
    from flows.say import Manner, speak

    for voice in voices:
        backend, _, name = voice.rpartition("/")
        path = out / f"{backend or 'kokoro'}-{name}.wav"
        speak(text, backend=backend or "kokoro", voice=name, manner=Manner(intensity=0.0), seed=0, out=path, bank=bank)
        _out().print(str(path))


@app.command()
def check(
    folder: Annotated[Path, typer.Argument(help="Folder of reference clips with a voices.jsonl.")],
    as_json: Json = False,
) -> None:
    """Check reference clips for a cloning backend, clip by clip; exit 1 when one of them will not do.

    `voices.jsonl` holds one line a voice: `{"file": "ann.wav", "name": "ann", "gender": "female", "age": "senior",
    "languages": ["en"], "text": "what is said in the clip", "license": "CC-BY-4.0", "source": "where it is from"}`
    """
    import prompts
    from tts_backends.reference_voices import check_reference_voices

    found = check_reference_voices(folder, ages=prompts.ages().ages)
    if as_json:
        _print_json(
            {
                "voices": [v.model_dump(mode="json") for v in found.voices],
                "faults": [str(fault) for fault in found.faults],
                "unlisted": [str(name) for name in found.unlisted],
            }
        )
    else:
        for fault in found.faults:
            _out().print(f"[red]{fault}[/]")
        for name in found.unlisted:
            _out().print(f"[yellow]{name} is in the folder, but not in voices.jsonl[/]")
        _out().print(f"{folder}: {len(found.voices)} voices can be used, {len(found.faults)} faults")
    raise typer.Exit(1 if found.faults else 0)


@app.command()
def measure(
    backend: Annotated[str, typer.Argument(help="TTS backend, see `s2s plugins`.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the bank; its other backends stay as they are.")],
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", "-s", metavar="KEY=VALUE", help="An option of the backend; may be repeated."),
    ] = None,
) -> None:
    """Measure a backend's own voices and write their cards, so that its deliveries can be judged too."""
    from flows.recipes import parse_settings
    from storage.object_store import LocalStore
    from tasks.engine_room import available_cores
    from tasks.voices.measure_backend import measure_backend
    from tts_backends.voice_bank import bank_files

    bank = measure_backend(backend, num_threads=available_cores(), options=parse_settings(settings or []))
    store = LocalStore(out)
    for name, content in bank_files(bank, backend).items():
        store.write(name, content)
    _out().print(f"{out}: cards of {len(bank)} voices of {backend}")


def _bank(folder: Path | None) -> VoiceBank:
    from tts_backends.voice_bank import PACKAGED, load_bank

    found = load_bank(folder or PACKAGED)
    if not len(found):
        raise ConfigError(
            f"{folder or 'The installed package'} holds no voice cards; run `s2s voices build --out DIR`."
        )
    return found


@contextmanager
def _progress(count: int) -> Iterator[Callable[[Progress], None]]:
    """A bar on the terminal; a line now and then where there is none."""
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    console = Console(stderr=True)
    columns = (TextColumn("voices"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Bar(*columns, TextColumn("{task.fields[tried]} tried"), console=console) as bar:
        task = bar.add_task("voices", total=count, tried=0)

        def step(progress: Progress) -> None:
            bar.update(task, completed=progress.accepted, tried=progress.tried)
            if not console.is_terminal:
                typer.echo(f"{progress.accepted} of {count} voices, {progress.tried} candidates tried", err=True)

        yield step


def _print_report(report: dict[str, object], out: Path) -> None:
    figures, raw = (cast(dict[str, float], report[name]) for name in ("distances", "raw_distances"))
    table = Table(box=None, show_header=False, padding=(0, 2))
    rows = {
        "bank": str(out),
        "voices": f"{report['voices']} of {report['tried']} candidates in {report['seconds']} s",
        "dropped": ", ".join(f"{why} {n}" for why, n in cast(dict[str, int], report["dropped"]).items()) or "none",
        "kinds": ", ".join(f"{n} {kind}" for kind, n in cast(dict[str, int], report["kinds"]).items()),
        "nearest neighbour": f"{figures['nearest_neighbour']:.3f} (median of 1 - cosine in the speaker space)",
        "within a voice": f"{figures['within_voice']:.3f} (median distance of two utterances)",
        "ratio": f"{figures['ratio']:.2f} (without the speaker space: {raw['ratio']:.2f})",
        "MOS": f"{report['mos']:.2f} (median)",
        "WER": f"{report['wer']:.3f} (mean)",
        "picture": str(out / "distances.png"),
    }
    for name, value in rows.items():
        table.add_row(name, value)
    _out().print(table)
