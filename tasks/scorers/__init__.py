"""Scorers: each measures one thing about an utterance. Whether it suffices is for the gates to say."""
