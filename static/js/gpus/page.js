/* Everything that a page with GPUs needs. The overview has tiles only: gpus/tiles. */

import "berth/gpus/tiles";
import "berth/gpus/range";
import "berth/gpus/charts";
