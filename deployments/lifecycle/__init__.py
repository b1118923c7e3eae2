"""From Start to the end of a run: phases, pure decisions, and the loop that acts on them."""
