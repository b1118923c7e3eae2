/* What every page has. Pages add their own modules in the block "scripts". */

import "berth/morph";
import "berth/live";
import "berth/ages";
import "berth/theme";
import "berth/confirm";
import "berth/notices";
import "berth/copy";
import "berth/palette";
