"""HTTP: routes as modules that settings switch on or off; handed a context, it builds none."""
