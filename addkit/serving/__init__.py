"""`addkit serve`: answers of a trained model over HTTP, and a page to try it.

server.py    sockets, processes, signals        connection.py  timeouts of one connection
app.py       the endpoints                      requests.py    the body of a request, checked
batching.py  requests that are answered together  metrics.py   counters for Prometheus
card.py      what the model is, as JSON         page/          the page at /

Needs the extra `addkit[serve]`.
"""
