"""Tables: reading files with pyarrow, inferring column types, and encoding rows as one float32 array."""
