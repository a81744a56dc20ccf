"""The words everyone speaks. Nothing in here imports another folder of this project."""
