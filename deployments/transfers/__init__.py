"""Images on their way: pushed to a registry, saved as an archive, loaded from one."""
