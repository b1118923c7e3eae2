from django.urls import path

from . import views

app_name = "playground"
urlpatterns = [
    path("playground/", views.chat, name="chat"),
    path("keys/", views.keys, name="keys"),
    path("keys/new/", views.key_create, name="key_create"),
    path("keys/<int:pk>/revoke/", views.key_revoke, name="key_revoke"),
]
