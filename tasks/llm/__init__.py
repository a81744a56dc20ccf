"""Everything about asking a language model: engine, endpoint, pacing, prompt and the reading of answers."""
