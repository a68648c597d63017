"""A process that keeps a model loaded and segments what its parent puts into folders; see ``job`` and ``server``."""
