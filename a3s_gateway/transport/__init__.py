"""
Sockets as Twisted transports: plain and TLS, over one inner epoll per reactor.

The protocols above cannot tell these transports from Twisted's own, and where there is no
epoll they are given Twisted's own. `endpoints.py` is the door; nothing else need be imported.
"""
