"""`addkit serve`: answers of a trained model over HTTP, and a page to try it.

server.py      the socket, the model, the end     processes.py  several processes, signals
connection.py  timeouts of one connection          limits.py     what a request may ask for
app.py         the endpoints, and who may ask      requests.py   the body of a request, checked
answering.py   decodes and predicts                batching.py   requests that share a batch
card.py        what the model is, as JSON          metrics.py    counters for Prometheus
page/          the pages at / and /docs

Needs the extra `addkit[serve]`.
"""
