"""`heaptrail mcp`: captures and reports for an assistant, over the Model Context Protocol (modelcontextprotocol.io).

`folders` says which files it may see, `shelf` makes reports of them, `answers` puts them in few words, and `server` is
the only door of the package `mcp`. Nothing here writes, but for the cache of debug information that all commands share.
"""
