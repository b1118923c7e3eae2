"""Which node and which GPUs a deployment gets, and why not when it gets none."""
