"""DATASET -> MODEL. The only part that may import torch, timm and albumentations."""
