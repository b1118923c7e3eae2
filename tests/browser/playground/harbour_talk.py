"""What the scripted models say to the questions of the pictures: sentences that a person may ask and read."""

from __future__ import annotations

from typing import Final

QUESTION: Final = {
    "en": "How deep is the water at our two harbours, and what does the tide add?",
    "zh-hans": "两个港口的水有多深?潮汐又会增加多少?",
}
_ENGLISH: Final = """\
Both are deep enough for a **15 m** draught at any hour:

| harbour | at low water | at high water |
|---|---:|---:|
| Rotterdam | 24.0 m | 25.8 m |
| Hamburg | 15.8 m | 19.6 m |

The tide follows $h(t) = h_0 + a\\cos(\\omega t)$ with a period of 12.4 hours. As code:

```python
def depth(low: float, range_m: float, hours: float) -> float:
    \"\"\"Metres of water, `hours` after high water.\"\"\"
    return low + range_m * (1 + cos(2 * pi * hours / 12.4)) / 2
```

Plan Hamburg within two hours of high water if you draw more than 15 m.
"""
_ENGLISH_SHORT: Final = """\
Rotterdam keeps 24 m at low water and gains **1.8 m**; Hamburg keeps 15.8 m and gains **3.8 m**.

1. Up to 15 m of draught you may berth at either one, at any hour.
2. Beyond that, choose Rotterdam, or reach Hamburg near high water.
"""
_CHINESE: Final = """\
吃水 **15 米** 的船随时都可以停靠这两个港口:

| 港口 | 低潮 | 高潮 |
|---|---:|---:|
| 鹿特丹 | 24.0 米 | 25.8 米 |
| 汉堡 | 15.8 米 | 19.6 米 |

潮位服从 $h(t) = h_0 + a\\cos(\\omega t)$,周期为 12.4 小时。写成代码:

```python
def depth(low: float, range_m: float, hours: float) -> float:
    \"\"\"高潮后 hours 小时的水深,单位为米。\"\"\"
    return low + range_m * (1 + cos(2 * pi * hours / 12.4)) / 2
```

吃水超过 15 米时,请在高潮前后两小时内进入汉堡港。
"""
_CHINESE_SHORT: Final = """\
鹿特丹低潮时水深 24 米,高潮再增加 **1.8 米**;汉堡低潮时 15.8 米,高潮再增加 **3.8 米**。

1. 吃水不超过 15 米:两个港口随时都可以停靠。
2. 更深的船:选鹿特丹,或者在高潮前后进入汉堡港。
"""
#: Question -> the long answer and the short one.
ANSWERS: Final = {QUESTION["en"]: (_ENGLISH, _ENGLISH_SHORT), QUESTION["zh-hans"]: (_CHINESE, _CHINESE_SHORT)}
