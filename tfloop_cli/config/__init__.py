"""Configs: the schema, loading and precedence, validation, and strict YAML with line numbers."""
