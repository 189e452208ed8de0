"""Checked, resumable downloads; registries of packages as a source."""
