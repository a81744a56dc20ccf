"""ASR backends: speech to text, one engine a file; scripted.py is the fake that we ship."""
