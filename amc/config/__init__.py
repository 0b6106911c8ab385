"""The configuration: schema, checks, and what of it identifies a run."""
