"""The gateway's side towards its clients: HTTP/1.1 on httptools' parser, run by uvicorn's server.

uvicorn owns what is done once (sockets, signals, start, the order of a shutdown); this package what is done for each
request, which costs a third of uvicorn's own protocol. The web role stays with uvicorn's: it has websockets.
"""
