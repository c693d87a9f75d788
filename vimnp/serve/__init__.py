"""Networks over HTTP: a page, and what other people's clients ask for.

Starlette and uvicorn do the HTTP (the extra ``serve``). :mod:`vimnp.serve.app` puts it together.
"""
