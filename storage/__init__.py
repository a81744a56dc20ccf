"""All file access of the project. Nothing outside this folder opens a file of a run or of a corpus.

object_store.py   bytes under keys, written whole or not at all
layout.py         where what lies inside a run
manifests.py      a part's stage: rows first, manifest last; intact or not
run_directory.py  one run: its run.json, its lock, its parts
audio_files.py    FLAC bytes <-> Audio, and the tar that holds a part's audio
shards.py         WebDataset tars with reproducible bytes
seals.py          sealed corpora: manifest, id, verification
request_cache.py  answers of HTTP engines by the hash of the whole request
"""
