"""The stages of the pipeline, one a file: a pure function over candidates; `stage.py` does what all need alike.

    plan_scenarios -> generate_dialogues -> screen_dialogues -> cast_voices -> synthesize_speech -> assess_speech
    -> accept_dialogues -> pack_shards -> seal_corpus;  verify_corpus reads it all again

`stages.py` lists them with what decides their output. Engines live in `engine_room.py`; LLM endpoints in `llm/`, ASR in
`asr_backends/`, measurements in `scorers/`.
"""
