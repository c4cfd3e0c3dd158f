import torch
import torch.nn.functional as F
from tiny import make_batch, make_data, make_method


def test_the_loss_is_cross_entropy_of_the_given_labels():
    data = make_data()
    method = make_method("baseline", data).eval()
    batch = make_batch(data.train, [0, 4, 8, 9])
    images = make_method("baseline", data).weak(make_batch(data.train, [0, 4, 8, 9]))
    expected = F.cross_entropy(method.networks[0](images), batch.labels)
    torch.testing.assert_close(method.losses(batch)["total"], expected)
    assert method.start_epoch(1) == {}
    assert method.predict(images).shape == (1, 4, 3)
