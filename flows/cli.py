"""The command `s2s`. Heavy imports happen inside the commands, so that `--help` answers at once."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.table import Table

from flows.voices import app as voices_app

app = typer.Typer(
    name="s2s",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="""Build corpora of empathetic spoken dialogues and look after them.

    Start with `s2s doctor` (what works here), then `s2s build demo --out runs/demo`.
    """,
)

app.add_typer(voices_app, name="voices")

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")]
RunDir = Annotated[str, typer.Argument(help="Directory of a run, as given to `s2s build --out`.", metavar="RUN")]


def _out() -> Console:
    return Console(soft_wrap=True, highlight=False)


def _print_json(value: Any) -> None:
    json.dump(value, sys.stdout, indent=1, ensure_ascii=False)
    sys.stdout.write("\n")


@app.command()
def build(
    recipe: Annotated[str, typer.Argument(help="A built-in recipe (see `s2s recipes`) or the path of a YAML file.")],
    out: Annotated[str, typer.Option("--out", "-o", help="Directory of the run. The same one again resumes it.")],
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", "-s", metavar="KEY=VALUE", help="Lay a value over the recipe; may be repeated."),
    ] = None,
) -> None:
    """Build a sealed corpus, or go on with one that was begun.

    Killed, crashed or changed your mind? Run the same command again: finished stages are reused, and after a change
    only what depends on it is done anew (a new threshold calls no engine).

    **Examples**

    * `s2s build demo --out runs/demo`
    * `s2s build demo --out runs/big --set target.dialogues=500 --set target.max_candidates=1500`
    * `s2s build demo --out runs/demo --set accept.gates.wer.max=0.05` decides again, nothing else
    * `s2s build my.yaml --out runs/x --set generate.llm.base_url=http://127.0.0.1:8000/v1`
    """
    from flows.recipes import load_recipe, parse_settings
    from tasks.begin_run import validate_recipe

    parsed = parse_settings(settings or [])
    validate_recipe(load_recipe(recipe, parsed))  # A wrong recipe is refused before Prefect is started.
    _err().print("Starting Prefect and the pipeline ...", style="dim")
    from flows.command import run_build
    from flows.status import print_status, read_status
    from storage.object_store import open_store

    run_build(recipe, out, parsed)
    status = read_status(open_store(out))
    print_status(status, _out())
    _next_steps(out, bool(status.seal))
    raise typer.Exit(0 if status.seal else 1)


def _next_steps(out: str, sealed: bool) -> None:
    console = _out()
    console.print("\nWhat to do next")
    steps = {
        f"s2s report {out}": "pictures and a page to listen to the dialogues",
        f"s2s verify {out}": "read the whole corpus again and check it",
        f"s2s status {out}": "this summary",
        "prefect server start": "see every stage of this run in Prefect's UI",
    }
    for command, purpose in steps.items():
        if sealed or not command.startswith(("s2s report", "s2s verify")):
            console.print(f"  {command:<34} {purpose}")


@app.command()
def status(run: RunDir, as_json: Json = False) -> None:
    """Show what a run stands at: the funnel, what was rejected for what, the engines' time, the seal."""
    from flows.status import print_status, read_status
    from storage.object_store import open_store

    found = read_status(open_store(run))
    if as_json:
        _print_json(found.model_dump(mode="json"))
    else:
        print_status(found, _out())


@app.command()
def verify(run: RunDir, as_json: Json = False) -> None:
    """Read a sealed corpus again from the first byte to the last; exit 1 and name the damage on any fault.

    RUN is the directory of a run or the folder of a sealed corpus (a copy of it will do).
    """
    from contracts.errors import NotARun
    from flows.status import corpus_place
    from storage import layout
    from storage.object_store import open_store
    from storage.run_directory import read_run
    from storage.seals import read_seal
    from tasks.verify_corpus import verify_corpus

    store = open_store(run)
    record = read_run(store) if store.exists(layout.RUN) else None
    if record and not record.seal:
        raise NotARun(f"{run} is not sealed ({record.state}): {record.outcome or 'run `s2s build` to the end'}")
    folder = corpus_place(store, record)
    faults = verify_corpus(store, folder)
    if as_json:
        _print_json({"run": run, "corpus": f"{store.uri}/{folder}".rstrip("/"), "faults": faults})
    elif faults:
        _err().print(f"{run}: {len(faults)} faults", style="bold red")
        for fault in faults:
            _err().print(f"  {fault}", highlight=False, soft_wrap=True)
    else:
        manifest = read_seal(store, folder)
        _out().print(
            f"{run}: whole. {manifest.num_dialogues} dialogues, {manifest.num_turns} turns, "
            f"{len(manifest.shards)} shards, seal {manifest.seal[:12]}"
        )
    raise typer.Exit(1 if faults else 0)


@app.command()
def recipes() -> None:
    """List the built-in recipes."""
    import yaml

    from flows.recipes import builtin_recipes

    table = Table(box=None, padding=(0, 2))
    for column in ("recipe", "what it builds"):
        table.add_column(column)
    for name, text in builtin_recipes().items():
        table.add_row(name, yaml.safe_load(text).get("description", ""))
    _out().print(table)


@app.command()
def plugins(as_json: Json = False) -> None:
    """List every TTS, ASR and scorer plugin, what it can do and whether it can run here."""
    from contracts.plugins import PLUGIN_GROUPS, PluginSpec, create, registered
    from contracts.protocols import TTSBackend
    from flows.doctor import plugin_finding

    rows = []
    for group in PLUGIN_GROUPS:
        for name in sorted(registered(group)):
            finding = plugin_finding(group, name)
            row: dict[str, Any] = {"group": group, "name": name, "runs_here": finding.ok, "detail": finding.detail}
            row["fix"] = finding.fix
            engine = create(group, PluginSpec(name=name)) if group == "tts_backends" else None
            if isinstance(engine, TTSBackend):
                row["capabilities"] = {
                    "sample_rate": engine.capabilities.sample_rate,
                    "languages": list(engine.capabilities.languages),
                    "emotion": engine.capabilities.emotion,
                    "controls": sorted(engine.capabilities.controls),
                    "cloning": engine.capabilities.cloning,
                    "fake": engine.capabilities.fake,
                    "voices": len(engine.voices()) if finding.ok else None,
                }
            rows.append(row)
    if as_json:
        _print_json(rows)
        return
    table = Table(box=None, padding=(0, 2))
    for column in ("group", "plugin", "runs here", "capabilities", "detail"):
        table.add_column(column, overflow="fold")
    for row in rows:
        can = row.get("capabilities")
        told = (
            f"{can['sample_rate']} Hz, {'/'.join(can['languages'])}, {can['voices']} voices, controls "
            f"{'+'.join(can['controls']) or 'none'}" + (", a fake" if can["fake"] else "")
            if can
            else ""
        )
        mark = "yes" if row["runs_here"] else "no"
        detail = row["detail"] + (f"; {row['fix']}" if row["fix"] else "")
        table.add_row(row["group"], row["name"], mark, told, detail)
    _out().print(table)


@app.command()
def doctor(as_json: Json = False) -> None:
    """Look at this machine, its engines and servers; exit 1 when the demo cannot run here."""
    from flows.doctor import examine

    findings = examine()
    if as_json:
        _print_json([f.model_dump() for f in findings])
    else:
        table = Table(box=None, padding=(0, 2))
        for column in ("", "area", "what", "found", "to mend it"):
            table.add_column(column)
        for f in findings:
            table.add_row("[green]ok[/]" if f.ok else "[red]no[/]", f.area, f.name, f.detail, f.fix)
        _out().print(table)
    raise typer.Exit(1 if any(f.needed and not f.ok for f in findings) else 0)


@app.command()
def say(
    text: Annotated[str, typer.Argument(help="What to say.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="File to write: .wav, .flac or .ogg.")],
    backend: Annotated[str, typer.Option("--backend", "-b", help="TTS backend, see `s2s plugins`.")] = "kokoro",
    voice: Annotated[str | None, typer.Option("--voice", "-v", help="Voice; its first one when not given.")] = None,
    emotion: Annotated[str, typer.Option("--emotion", "-e", help="A feeling of prompts/delivery.yaml.")] = "neutral",
    intensity: Annotated[float, typer.Option("--intensity", "-i", help="How strongly.", min=0.0, max=1.0)] = 0.65,
    rate: Annotated[float | None, typer.Option(help="Speaking rate; 1.0 is the voice's own.", min=0.5, max=2)] = None,
    pitch: Annotated[float | None, typer.Option(help="Mean pitch as a factor.", min=0.5, max=2)] = None,
    pitch_range: Annotated[float | None, typer.Option(help="Spread of pitch as a factor.", min=0, max=3)] = None,
    energy: Annotated[float | None, typer.Option(help="Loudness and effort as a factor.", min=0.1, max=4)] = None,
    seed: Annotated[int, typer.Option(help="Seed of what is random in the engine.", min=0)] = 0,
    bank: Annotated[Path | None, typer.Option(help="Folder of a voice bank of your own.")] = None,
) -> None:
    """Let a voice say something, with a feeling, and write it to a file.

    * `s2s say "I got the job!" --voice alpha --emotion happy --intensity 0.8 --out happy.wav`
    * `s2s say "Oh no." --backend hibari --emotion sad --out sad.wav`
    """
    from flows.say import Manner, speak

    manner = Manner(
        emotion=emotion, intensity=intensity, rate=rate, pitch=pitch, pitch_range=pitch_range, energy=energy
    )
    spoken = speak(text, backend=backend, voice=voice, manner=manner, seed=seed, out=out, bank=bank)
    _out().print(
        f"{out}: {spoken.seconds:.2f} s of {spoken.voice}, {spoken.real_time_factor:.1f} times faster than real time"
    )
    if spoken.delivery.unrendered:
        lost = ", ".join(name.replace("_", " ") for name in spoken.delivery.unrendered)
        _err().print(f"{backend} has no control of: {lost}; {emotion} is rendered without.", style="yellow")


@app.command("serve-tts")
def serve_tts(
    backend: Annotated[str, typer.Option("--backend", "-b", help="TTS backend, see `s2s plugins`.")] = "kokoro",
    host: Annotated[str, typer.Option(help="Address to listen at; it asks for no key.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen at; 0 takes a free one.", min=0, max=65535)] = 8880,
    voices: Annotated[str | None, typer.Option(help="Serve these voices only: names with commas between.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", "-s", metavar="KEY=VALUE", help="An option of the backend; may be repeated."),
    ] = None,
) -> None:
    """Serve a TTS backend as OpenAI's /v1/audio/speech, until ctrl-C.

    Any client of that API can use it, the backend `openai_speech` on another machine too.

    * `s2s serve-tts --backend kokoro --port 8880`
    * `s2s serve-tts --backend cosyvoice --set model_dir=models/Fun-CosyVoice3-0.5B --set voices=my_voices`
    """
    from functools import partial

    from flows.recipes import parse_settings
    from flows.serve_tts import serve

    names = [name.strip() for name in voices.split(",") if name.strip()] if voices is not None else None
    tell = partial(_out().print, markup=False)
    serve(backend, host=host, port=port, voices=names, options=parse_settings(settings or []), tell=tell)


@app.command()
def report(run: RunDir, as_json: Json = False) -> None:
    """Write a page with tables, pictures and dialogues to listen to: emotions, voices, gates, accepted and rejected.

    With `--json`, the tables alone are printed and nothing is written.
    """
    from flows.report import read_tables, write_report

    if as_json:
        _print_json(read_tables(run).model_dump(mode="json"))
        return
    for name, place in write_report(run).items():
        _out().print(f"{name:<12} {place}")


@app.command()
def bench(
    name: Annotated[str, typer.Argument(help="Which benchmark: pipeline, emotions.")],
    as_json: Json = False,
) -> None:
    """Measure what is claimed; takes minutes.

    `pipeline`: how much of the engines' own speed the pipeline keeps. Builds a small fixed recipe with all stages
    overlapping, then gives the same batches to the same engines back to back, alone with all cores, and compares:
    efficiency = engines alone / pipeline.

    `emotions`: whether feelings can be heard. 40 voices say 10 sentences in 5 ways: prosody against neutral, WER, MOS,
    and a classifier that is asked on voices it has not heard. Half an hour on two cores; goes on where it was ended.
    """
    from importlib.metadata import entry_points

    from contracts.errors import UnknownPlugin

    # By entry point, since benchmarks stand above flows and may import it, not the other way round.
    known = {point.name: point for point in entry_points(group="s2s.benchmarks")}
    if name not in known:
        raise UnknownPlugin("benchmarks", name, known)
    result = known[name].load()()
    if as_json:
        _print_json(result.model_dump(mode="json"))
    else:
        result.print(_out())


def _err() -> Console:
    return Console(stderr=True, highlight=False, soft_wrap=True)


def main() -> NoReturn:
    """Entry point: errors of ours become one clear message and exit code 2 (wrong request) or 1."""
    from contracts.errors import ConfigError, S2SError

    try:
        app()
    except S2SError as error:
        _err().print(f"[bold red]error:[/] {_plain(error)}")
        sys.exit(2 if isinstance(error, ConfigError) else 1)
    sys.exit(0)


def _plain(error: BaseException) -> str:
    from rich.markup import escape

    return escape(str(error))


if __name__ == "__main__":
    main()
