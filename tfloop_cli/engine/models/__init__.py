"""Models, one file per family. A builder knows only the shape of the data. Classifiers return logits."""
