"""Run folders: their layout, metadata, recorded history, checkpoint manifests, and what resuming decides."""
