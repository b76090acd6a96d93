"""A real Flask with Flask-Login, Flask-WTF and, where a Redis is named, Flask-Session. Prints its port and serves."""

import hmac
import os
import pickle
import sys

from flask import Flask, abort, jsonify, request, session
from flask_login import LoginManager, UserMixin, current_user, login_user, logout_user
from flask_wtf.csrf import CSRFProtect, generate_csrf
from werkzeug.serving import make_server

app = Flask(__name__)
app.config.update(SECRET_KEY=os.environ["SECRET"], FICUS_KEY="the-key", SESSION_COOKIE_NAME="session")
logins = LoginManager(app)
logins.session_protection = os.environ.get("PROTECTION", "basic")
csrf = CSRFProtect(app)

if os.environ.get("REDIS"):
    import redis
    from flask_session import Session

    app.config.update(
        SESSION_TYPE="redis",
        SESSION_REDIS=redis.from_url(os.environ["REDIS"]),
        SESSION_SERIALIZATION_FORMAT=os.environ.get("FORMAT", "msgpack"),
    )
    Session(app)


class User(UserMixin):
    def __init__(self, id):
        self.id = id
        self.role = "teacher"


@logins.user_loader
def load(id):
    return User(id)


@app.get("/auth/form")
def form():
    return jsonify(token=generate_csrf())


@app.post("/auth/login")
def login():
    login_user(User(request.form["id"]), remember="remember" in request.form)
    return jsonify(ok=True)


@app.post("/auth/logout")
def log_out():
    logout_user()
    return jsonify(ok=True)


@app.get("/auth/pickle")
def pickled():
    """Makes this session one that an older Flask-Session left."""
    store, key, data = app.session_interface, session.sid, pickle.dumps(dict(session))
    response = jsonify(ok=True)
    # After the session was saved.
    response.call_on_close(lambda: store.client.set(store.key_prefix + key, data))
    return response


@app.get("/auth/me")
def me():
    return jsonify(user=current_user.get_id())


@csrf.exempt
@app.route("/ficus/who/", methods=["GET", "DELETE"])
def who():
    if not hmac.compare_digest(request.headers.get("X-Ficus-Key", ""), app.config["FICUS_KEY"]):
        abort(403)
    if request.method == "DELETE":
        logout_user()
        session.clear()
    known = {"id": current_user.get_id(), "roles": [current_user.role]} if current_user.is_authenticated else None
    return jsonify(user=known, csrf=session.get("csrf_token"))


server = make_server("127.0.0.1", 0, app, threaded=True)
print(server.port, flush=True)
sys.stdin.close()
server.serve_forever()
