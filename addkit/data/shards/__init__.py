"""Images in tar shards: a folder of data whose images are in a few large files.

OUT/shards.json                  the index: shards with sizes and checksums, written last
OUT/train-00000.tar              images as they were, with their labels: webdataset's layout
OUT/members/train-00000.json     offset and length of each image in that shard
OUT/captions.csv, ...            files other than images that the data set reads

A data set reads such a folder as it reads the folder that the shards were made of: the index lists
the images under the names that they had there.
"""

from addkit.data.folders import FolderStore, ImageStore
from addkit.data.shards.read import ShardStore, open_store

__all__ = ["FolderStore", "ImageStore", "ShardStore", "open_store"]
