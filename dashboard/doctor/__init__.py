"""Looks at what Berth stands on, and says of each part whether it works, and the fix where it does not."""
