from django.urls import path

from . import views, views_usage

app_name = "playground"
urlpatterns = [
    path("playground/", views.chat, name="chat"),
    path("keys/", views.keys, name="keys"),
    path("keys/new/", views.key_create, name="key_create"),
    path("keys/<int:pk>/edit/", views.key_edit, name="key_edit"),
    path("keys/<int:pk>/revoke/", views.key_revoke, name="key_revoke"),
    path("usage/", views_usage.usage_page, name="usage"),
    path("usage/usage.csv", views_usage.usage_csv, name="usage_csv"),
]
