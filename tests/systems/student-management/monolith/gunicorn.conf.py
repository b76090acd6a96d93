"""gunicorn for the school administration: threads, because every thread keeps one SQLite connection open.

SCHOOL_BIND     address, default 127.0.0.1:8000
SCHOOL_WORKERS  processes, default 2
SCHOOL_THREADS  threads of each, default 4
"""

import os

wsgi_app = "school.wsgi:application"
bind = os.environ.get("SCHOOL_BIND", "127.0.0.1:8000")
worker_class = "gthread"
workers = int(os.environ.get("SCHOOL_WORKERS", "2"))
threads = int(os.environ.get("SCHOOL_THREADS", "4"))
keepalive = 75  # longer than a proxy keeps an idle connection, so that the proxy is the one that closes
graceful_timeout = 5
accesslog = None
pidfile = None
control_socket_disable = True  # its default path is one for the whole machine; nothing here uses it
