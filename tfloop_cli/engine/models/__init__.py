"""Models, one file per family. A builder depends only on the shape of the data. Classifiers return logits."""
