/* Tiles of GPUs, what stands around them, and the question for a new drawing when their structure changes. */

import "berth/gpus/tile";
import "berth/gpus/node";
import "berth/gpus/structure";
