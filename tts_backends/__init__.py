"""Text-to-speech engines, one a file; base.py holds what they share, tone.py is the fake that we ship."""
