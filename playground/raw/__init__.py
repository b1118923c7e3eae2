"""Raw: a request to any address of the gateway, its answer as it came, and the same request as code.

``addresses`` how each is asked · ``examples`` what a body may look like · ``checking`` what is sent at all ·
``snippets`` and ``libraries`` the request in other tools.
"""
