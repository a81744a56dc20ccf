"""Training reads sealed corpora: `s2s verify` them, then read their shards with webdataset. The model comes here."""
