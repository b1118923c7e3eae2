"""Raw: a request to any address of the gateway as JSON, its answer as it came, and the same request as code.

``examples`` what a body may look like · ``checking`` what is sent at all · ``snippets`` the request in other tools.
"""
