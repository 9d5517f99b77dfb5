"""The HTTP edge: thin routes, bodies in, bytes out. Litestar lives here, in the console and in `gateway.app` only."""
