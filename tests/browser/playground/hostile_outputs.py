"""What a model may say to break a page: none of it may run, load, leave its bubble, or hold the page up."""

from __future__ import annotations

#: Name -> what the model says.
HOSTILE: dict[str, str] = {
    "script": "before <script>window.harm = 1</script> after",
    "handlers": "<img src=x onerror='window.harm = 2'><svg onload='window.harm = 3'><body onpageshow='window.harm = 4'>",
    "frames": "<iframe srcdoc='<script>parent.harm = 5</script>'></iframe><object data='data:text/html,x'></object><embed src=x>",
    "links": (
        "[a](javascript:window.harm=6) [b](  JaVaScRiPt:window.harm=7) [c](data:text/html,<script>window.harm=8</script>)"
        " [d](vbscript:x) <javascript:window.harm=9> [e](/accounts/logout/) [f](//elsewhere.example/x)"
        " [g](https://elsewhere.example/ok)"
    ),
    "pictures": (
        "![a](https://elsewhere.example/pixel.png) ![b](//elsewhere.example/p) ![c](/accounts/logout/)"
        " ![d](data:image/svg+xml;base64,PHN2ZyBvbmxvYWQ9J3dpbmRvdy5oYXJtPTEwJy8+) ![e](javascript:window.harm=11)"
        " ![f](data:image/png;base64,bm90IGEgcG5n)"
    ),
    "styles": "<style>body { display: none }</style><div style='position:fixed;inset:0;z-index:9999'>over all</div><link rel=stylesheet href=//elsewhere.example/x.css>",
    "forms": "<form action=//elsewhere.example><input name=password autofocus onfocus='window.harm = 12'><button>Sign in</button></form><base href=//elsewhere.example><meta http-equiv=refresh content='0;url=//elsewhere.example'>",
    "clobbering": "<a id=messages name=forms></a><img name=getElementById><form id=main><input id=attributes></form>",
    "mutation": "<math><mtext><table><mglyph><style><!--</style><img title='--&gt;&lt;img src=1 onerror=window.harm=13&gt;'>",
    "fences": "```html\n<script>window.harm = 14</script>\n``` \n````\nnever closed <img src=x onerror=window.harm=15>",
    "language": '```"><img/src=x/onerror=window.harm=16>\nx\n```\n\n```constructor\nx\n```\n',
    "math": "$\\href{javascript:window.harm=17}{x}$ $$\\includegraphics{https://elsewhere.example/p.png}$$ $\\htmlData{x=y}{z}$ $\\style{position:fixed}{x}$ $\\def\\x{\\x\\x}\\x$ $$\\rule{9999em}{9999em}$$ $x^2$",
    "broken": "| a | b\n|---\n| **x | _y_ [z](\n\n> > > - 1. `` ` ``\n***bold* __it\n# # #\n[^1]: [[[[\n![](\n",
    "nested": "> " * 200 + "deep\n\n" + "[" * 500 + "x" + "]" * 500 + "\n\n" + "*" * 2000 + "\n\n" + "- " * 150 + "x",
    "bidirectional": "user\u202e gpj.exe\u202d \u2066\u2067\u2068 abc \u202b\u202a never closed [safe \u202ekcatta](https://elsewhere.example)\n\nnext paragraph",
    "unbroken": "x" * 100_000,
    "unbroken code": "```\n" + "y" * 100_000 + "\n```",
    "combining": "Z" + "\u0300\u0316\u0489" * 2_000 + " end",
    "controls": "bell\x07 escape\x1b[31mred\x1b[0m zero\x00 return\rover form\x0c \ud7ff\ufeff\ufffe separators\u2028\u2029",
    "placeholders": "{{ csrf_token }} {% debug %} ${window.harm=18} {text} %(name)s data-chat",
    "wide": "| "
    + " | ".join(f"column {number}" for number in range(60))
    + " |\n|"
    + "---|" * 60
    + "\n| "
    + " | ".join(["cell"] * 60)
    + " |",
    "think": "<think>\n<script>window.harm = 19</script>\n</think>\n<think>again</think> answer",
}
