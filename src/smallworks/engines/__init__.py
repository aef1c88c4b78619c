"""Every way to be a Model, and how a bundle becomes one that answers."""
