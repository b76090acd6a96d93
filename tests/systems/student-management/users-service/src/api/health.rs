//! Says that the process answers and that its database can be read. Open to anybody.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use crate::app::App;
use crate::error::Error;

/// `GET /users/health/`
pub async fn show(State(app): State<App>) -> Result<Json<Value>, Error> {
    let mut read = app.database.read().await?;
    sqlx::query("SELECT 1 FROM users LIMIT 1").fetch_optional(&mut *read).await?;
    Ok(Json(json!({"status": "ok", "service": "users-service"})))
}
