"""Addresses of the users: JSON and pages, log-in and log-out."""

from django.contrib.auth.views import LoginView, LogoutView
from django.urls import path

from school.health import health

from .api.notes import Notes
from .api.photos import UserPhoto
from .api.users import Me, OneUser, Users
from .views import NewUserPage, ProfilePage, UsersPage

urlpatterns = [
    path("api/v1/users/", Users.as_view()),
    path("api/v1/users/health/", health),
    path("api/v1/users/me/", Me.as_view()),
    path("api/v1/users/<int:pk>/", OneUser.as_view()),
    path("api/v1/users/<int:pk>/notes/", Notes.as_view()),
    path("api/v1/users/<int:pk>/photo/", UserPhoto.as_view()),
    path("accounts/login/", LoginView.as_view(extra_context={"title": "Log in"}), name="login"),
    path("accounts/logout/", LogoutView.as_view(), name="logout"),
    path("accounts/profile/", ProfilePage.as_view()),
    path("manage/users/", UsersPage.as_view()),
    path("manage/users/add/", NewUserPage.as_view()),
]
