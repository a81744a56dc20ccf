"""Making and measuring voices: candidates, what is measured of them, which are distinct enough for the bank."""
