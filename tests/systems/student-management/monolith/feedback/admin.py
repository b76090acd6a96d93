"""Every model of the app in Django's admin."""

from django.apps import apps
from django.contrib import admin

for model in apps.get_app_config("feedback").get_models():
    admin.site.register(model)
