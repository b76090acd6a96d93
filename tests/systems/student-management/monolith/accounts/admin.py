"""Users, profiles, notes and photos in Django's admin."""

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin

from .models import AdminHOD, CustomUser, Photo, Staff, Student, UserNote


@admin.register(CustomUser)
class CustomUserAdmin(UserAdmin):
    list_display = (*UserAdmin.list_display, "user_type")
    list_filter = ("user_type", *UserAdmin.list_filter)
    fieldsets = (*UserAdmin.fieldsets, ("School", {"fields": ("user_type",)}))
    add_fieldsets = (*UserAdmin.add_fieldsets, ("School", {"fields": ("user_type",)}))


@admin.register(AdminHOD, Staff, Student)
class ProfileAdmin(admin.ModelAdmin):
    raw_id_fields = ("user",)
    list_select_related = ("user",)
    search_fields = ("user__username",)


@admin.register(UserNote)
class UserNoteAdmin(admin.ModelAdmin):
    raw_id_fields = ("user",)
    list_display = ("user", "text", "created_at")
    list_select_related = ("user",)


@admin.register(Photo)
class PhotoAdmin(admin.ModelAdmin):
    """Read and delete only: a photo is uploaded at its own address, where it is measured."""

    list_display = ("user", "content_type", "sha256", "uploaded_at")
    list_select_related = ("user",)
    exclude = ("data",)

    def has_add_permission(self, request):
        return False

    def has_change_permission(self, request, obj=None):
        return False
