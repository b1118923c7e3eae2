"""The gateway's own HTTP/1.1 client for what every request pays: httptools' parser and kept connections, no more.

It posts to servers that Berth itself started. What it does not know (redirects, cookies, proxies, decoding, trailers)
no request to a model needs; everything that is not hot goes through aiohttp.
"""
