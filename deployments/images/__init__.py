"""What a config says for engines that make images: a workflow and defaults, as the editor and the gateway read them.

Both are entries of the config's environment, so that catalogue files, revisions, exports and runs carry them as they
carry the rest. They are for Berth: the engine's own environment does not get them.
"""

from __future__ import annotations

from typing import Final

#: ComfyUI: the workflow that requests fill in; JSON in ComfyUI's API format.
WORKFLOW_VARIABLE: Final = "BERTH_WORKFLOW"
#: What a request leaves open; a JSON object.
DEFAULTS_VARIABLE: Final = "BERTH_IMAGE_DEFAULTS"
IMAGE_VARIABLES: Final = frozenset({WORKFLOW_VARIABLE, DEFAULTS_VARIABLE})
