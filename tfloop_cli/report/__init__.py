"""The report of a run: one HTML file, made of what the run folder has. NumPy, no TensorFlow."""
